"""What is remembered of texts."""

from minikube_py.lib.memo import LENGTH_MAX, remembered


def test_short_texts_are_remembered_and_long_ones_are_made_anew():
    made = []

    @remembered(2)
    def upper(text: str) -> str:
        made.append(len(text))
        return text.upper()

    long = "a" * (LENGTH_MAX + 1)
    texts = ("a", "a", long, long)
    assert [upper(text) for text in texts] == [text.upper() for text in texts]
    assert made == [1, len(long), len(long)]
