"""Snakemake with a Slurm plugin that keeps to squeue: `python -m braggworks.snakemake_slurm` instead of `snakemake`.

While the controller does not answer, the plugin turns to sacct wherever that program exists, and asks it for ever:
without an accounting database no job is ever found to have ended.
"""

from __future__ import annotations


def main() -> None:
    """Run Snakemake's command line."""
    import snakemake_executor_plugin_slurm as plugin
    from snakemake.cli import main as run_snakemake

    is_available = plugin.is_query_tool_available
    plugin.is_query_tool_available = lambda tool: tool != "sacct" and is_available(tool)
    run_snakemake()


if __name__ == "__main__":
    main()
