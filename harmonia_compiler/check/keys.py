"""Keys and passwords that stand in a file, where whoever reads the file, the plan or a log would have them."""

from harmonia_compiler.check.program import Context
from harmonia_compiler.diagnostics.keys import leak, may_leak
from harmonia_compiler.syntax import tree


def refuse_keys(context: Context) -> None:
    """Report every text with a key in it, wherever it stands, that its setting has not been reported for."""
    said = {item.span for item in context.findings.items if item.code == "E0606"}
    for unit in context.units:
        if not may_leak(unit.source.text):
            continue
        texts = (node for each in unit.file.declarations for node, _ in tree.walk(each) if isinstance(node, tree.Text))
        for node in texts:
            if node.span not in said and (found := leak(node.value)):
                help = 'keep it out of the file: a setting that takes a key reads it at start, by `secret("NAME")`'
                context.findings.add("E0606", f"this text {found.what}", node.span, help=help)
