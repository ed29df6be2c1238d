rule scatter_batch:
    input:
        PATHS.batch_file("relaxed"),
    output:
        PATHS.batch_file("patterns-nufft"),
    log:
        PATHS.log("scatter_batch", "{campaign}", "{batch}"),
    benchmark:
        PATHS.benchmark("scatter_batch", "{campaign}", "{batch}")
    conda:
        conda_file("scatter")
    container:
        container_image("scatter")
    envmodules:
        "braggworks/scatter",
    threads: 1
    resources:
        mem_mb=1500,
        runtime=60,
    params:
        recipe=recipe_of("scatter"),
    shell:
        "braggworks scatter --recipe {params.recipe:q} --engine nufft --input {input:q} --output {output:q}"
        " --threads {threads} > {log:q} 2>&1"


rule scatter_batch_pynx:
    input:
        PATHS.batch_file("relaxed"),
    output:
        PATHS.batch_file("patterns-pynx"),
    log:
        PATHS.log("scatter_batch_pynx", "{campaign}", "{batch}"),
    benchmark:
        PATHS.benchmark("scatter_batch_pynx", "{campaign}", "{batch}")
    conda:
        conda_file("pynx")
    container:
        container_image("pynx")
    envmodules:
        "braggworks/pynx",
    threads: 1
    resources:
        mem_mb=1500,
        runtime=120,
    params:
        recipe=recipe_of("scatter"),
    shell:
        "braggworks scatter --recipe {params.recipe:q} --engine pynx --input {input:q} --output {output:q}"
        " --threads {threads} > {log:q} 2>&1"


rule compare_engines:
    input:
        nufft=PATHS.batch_file("patterns-nufft", CONFIG.comparison.campaign, CONFIG.comparison.batch),
        pynx=PATHS.batch_file("patterns-pynx", CONFIG.comparison.campaign, CONFIG.comparison.batch),
    output:
        PATHS.engines,
    log:
        PATHS.log("compare_engines"),
    benchmark:
        PATHS.benchmark("compare_engines")
    conda:
        conda_file("scatter")
    container:
        container_image("scatter")
    envmodules:
        "braggworks/scatter",
    threads: 1
    resources:
        mem_mb=1500,
        runtime=10,
    params:
        version=STAGE_VERSIONS["compare"],
    shell:
        "braggworks compare-engines --reference {input.nufft:q} --other {input.pynx:q} --output {output:q}"
        " > {log:q} 2>&1"
