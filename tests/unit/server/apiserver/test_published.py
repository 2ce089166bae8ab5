"""Documents are built once for each state of the scheme."""

from minikube_py.server.apiserver.published import Documents


def test_a_document_is_built_once_until_all_is_forgotten() -> None:
    built: list[str] = []

    def build(path: str) -> bytes | None:
        built.append(path)
        return path.encode() if path else None

    documents = Documents(build)
    assert [documents.get("a"), documents.get("a"), documents.get("")] == [b"a", b"a", None]
    documents.clear()
    documents.get("a")
    assert built == ["a", "", "a"]


async def test_what_was_built_from_an_older_scheme_is_not_kept() -> None:
    state = ["old"]

    def build(_path: str) -> bytes:
        shown = state[0]
        if shown == "old":  # the scheme changes while the document is being built from it
            state[0] = "new"
            documents.clear()
        return shown.encode()

    documents = Documents(build)
    assert await documents.get_in_thread("/openapi/v2") == b"old"
    assert await documents.get_in_thread("/openapi/v2") == b"new"
