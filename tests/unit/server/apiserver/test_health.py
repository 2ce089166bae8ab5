"""The named checks, as probes and people read them."""

from multidict import MultiDict

from minikube_py.server.apiserver.health import Health

BROKEN = "not open"


def health(**broken):
    checks = {"etcd": None, "poststarthook/bootstrap": None, "shutdown": None, **broken}
    return Health({name: lambda why=why: why for name, why in checks.items()})


def answer(which, path, query=()):
    response = which.answer(path, MultiDict(query))
    return None if response is None else (response.status, response.text)


def test_all_is_well():
    assert answer(health(), "/livez") == (200, "ok")
    assert answer(health(), "/livez/etcd") == (200, "ok")


def test_a_list_of_the_checks_ends_with_the_verdict():
    status, text = answer(health(), "/readyz", [("verbose", "")])
    assert status == 200
    assert text.startswith("[+]ping ok\n[+]log ok\n[+]informer-sync ok\n[+]poststarthook/")
    assert text.endswith("[+]shutdown ok\nreadyz check passed\n")


def test_what_fails_is_named_without_its_reason():
    status, text = answer(health(etcd=BROKEN), "/livez")
    assert status == 500
    assert "[-]etcd failed: reason withheld\n" in text
    assert text.endswith("livez check failed\n")
    assert BROKEN not in text


def test_one_check_alone_says_why_it_fails():
    assert answer(health(etcd=BROKEN), "/livez/etcd")[0] == 500


def test_what_is_left_out_does_not_count_and_unknown_names_are_told():
    query = [("exclude", "shutdown"), ("exclude", "b"), ("exclude", "a"), ("verbose", "")]
    status, text = answer(health(shutdown="going"), "/readyz", query)
    assert status == 200
    assert "[+]shutdown excluded: ok\n" in text
    assert 'cannot be excluded: no matches for "a","b"\n' in text


def test_there_is_no_answer_for_a_check_that_is_not_there():
    assert health().answer("/livez/nothing", MultiDict()) is None


def test_key_services_are_checked_where_there_are_any():
    well, broken = {"kms-providers": None}, {"kms-providers": "KMS safe is not healthy"}
    for path in ("/healthz", "/livez", "/readyz"):
        assert answer(health(), f"{path}/kms-providers") is None
        assert answer(health(**well), f"{path}/kms-providers") == (200, "ok")
        status, text = answer(health(**broken), path)
        assert status == 500
        assert "[-]kms-providers failed: reason withheld\n" in text
    status, text = answer(health(**broken), "/readyz/kms-providers")
    assert (status, text) == (500, "internal server error: KMS safe is not healthy\n")
