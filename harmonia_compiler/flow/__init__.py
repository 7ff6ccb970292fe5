"""The dataflow graph, the passes over it, and its lowering to a Program."""
