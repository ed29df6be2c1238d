rule scatter_batch:
    input:
        PATHS.batch_file("relaxed"),
    output:
        kept(PATHS.batch_file("patterns-nufft")),
    log:
        PATHS.log("scatter_batch", "{campaign}", "{batch}"),
    benchmark:
        PATHS.benchmark("scatter_batch", "{campaign}", "{batch}")
    wildcard_constraints:
        campaign=names_of("atomistic"),
    conda:
        conda_file("scatter")
    container:
        container_image("scatter")
    envmodules:
        "braggworks/scatter",
    threads: 1
    resources:
        mem_mb=more_each_time(1500),
        runtime=more_each_time(60),
    params:
        recipe=recipe_of("scatter"),
        lineage=lineage_of("scatter"),
    shell:
        "braggworks scatter --recipe {params.recipe:q} --engine nufft --batch {wildcards.batch} --input {input:q} --output {output:q}"
        " --threads {threads} > {log:q} 2>&1"


rule scatter_batch_pynx:
    input:
        PATHS.batch_file("relaxed"),
    output:
        kept(PATHS.batch_file("patterns-pynx")),
    log:
        PATHS.log("scatter_batch_pynx", "{campaign}", "{batch}"),
    benchmark:
        PATHS.benchmark("scatter_batch_pynx", "{campaign}", "{batch}")
    wildcard_constraints:
        campaign=names_of("atomistic"),
    conda:
        conda_file("pynx")
    container:
        container_image("pynx")
    envmodules:
        "braggworks/pynx",
    threads: 1
    resources:
        mem_mb=more_each_time(1500),
        runtime=more_each_time(120),
    params:
        recipe=recipe_of("scatter"),
        lineage=lineage_of("scatter"),
    shell:
        "braggworks scatter --recipe {params.recipe:q} --engine pynx --batch {wildcards.batch} --input {input:q} --output {output:q}"
        " --threads {threads} > {log:q} 2>&1"


rule grid_batch:
    input:
        PATHS.batch_file("relaxed"),
    output:
        kept(PATHS.batch_file("patterns-gridded")),
    log:
        PATHS.log("grid_batch", "{campaign}", "{batch}"),
    benchmark:
        PATHS.benchmark("grid_batch", "{campaign}", "{batch}")
    wildcard_constraints:
        campaign=names_of("autophasenn"),
    conda:
        conda_file("scatter")
    container:
        container_image("scatter")
    envmodules:
        "braggworks/scatter",
    threads: 1
    resources:
        mem_mb=more_each_time(1500),
        runtime=more_each_time(60),
    params:
        recipe=recipe_of("scatter"),
        lineage=lineage_of("scatter"),
    shell:
        "braggworks scatter --recipe {params.recipe:q} --batch {wildcards.batch} --input {input:q} --output {output:q}"
        " --threads {threads} > {log:q} 2>&1"
