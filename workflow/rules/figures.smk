FIGURE_RECIPE = fixed(FigureRecipe(version=STAGE_VERSIONS["figure"], figures=CONFIG.figures))


rule draw_rulegraph:
    output:
        PATHS.rulegraph,
    log:
        PATHS.log("draw_rulegraph"),
    benchmark:
        PATHS.benchmark("draw_rulegraph")
    conda:
        conda_file("workflow")
    container:
        container_image("workflow")
    envmodules:
        "braggworks/workflow",
    threads: 1
    resources:
        mem_mb=more_each_time(1000),
        runtime=more_each_time(10),
    params:
        config=CONFIG_FILE,
    shell:
        "snakemake --configfile {params.config:q} --rulegraph dot --forceall > {output:q} 2> {log:q}"


rule draw_figure:
    input:
        lambda wildcards: figure_inputs(CONFIG, wildcards.figure),
    output:
        PATHS.figure(),
    log:
        PATHS.log("draw_figure", "{figure}"),
    benchmark:
        PATHS.benchmark("draw_figure", "{figure}")
    conda:
        conda_file("figures")
    container:
        container_image("figures")
    envmodules:
        "braggworks/figures",
    threads: 1
    resources:
        mem_mb=more_each_time(1500),
        runtime=more_each_time(10),
    params:
        recipe=FIGURE_RECIPE,
    shell:
        "braggworks figure {wildcards.figure} --recipe {params.recipe:q} --input {input:q} --output {output:q}"
        " > {log:q} 2>&1"


rule mesh_crystal:
    input:
        lambda wildcards: figure_inputs(CONFIG, "isosurface"),
    output:
        PATHS.isosurface,
    log:
        PATHS.log("mesh_crystal"),
    benchmark:
        PATHS.benchmark("mesh_crystal")
    conda:
        conda_file("figures")
    container:
        container_image("figures")
    envmodules:
        "braggworks/figures",
    threads: 1
    resources:
        mem_mb=more_each_time(1500),
        runtime=more_each_time(10),
    params:
        recipe=FIGURE_RECIPE,
    shell:
        "braggworks figure isosurface --recipe {params.recipe:q} --input {input:q} --output {output:q} > {log:q} 2>&1"
