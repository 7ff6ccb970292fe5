"""Corrective RAG as every measured system runs it: its prompts and its one decision (`bench/pipelines/crag.rag`)."""

GRADE = "{passages}\nDo these passages answer the question? {question}"
REWRITE = "Write search keywords for: {question}"
ANSWER = (
    "Answer the question with the help of these passages, and say which of them you used.\n{passages}\n"
    "Question: {question}"
)
#: How many tokens an answer may have, by component.
MOST = {"grade": 4, "rewrite": 40, "answer": 256}
#: Which engine each of them runs on.
ENGINE = {"grade": "small", "rewrite": "small", "answer": "large"}
#: How many passages are looked for in the store and in the web.
FOUND, FOUND_IN_WEB = 5, 3


def needs_web(grade: str) -> bool:
    """Whether what was found does not answer the question."""
    return grade.strip().lower().startswith("no")
