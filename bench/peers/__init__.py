"""Harmonia measured side by side with what people use today (`__main__.py` says how)."""
