# Entry: plain `snakemake` in this folder makes the demo's report; `--configfile FILE` chooses another run.
include: "workflow/Snakefile"


rule all:
    default_target: True
    input:
        default_targets(CONFIG),
