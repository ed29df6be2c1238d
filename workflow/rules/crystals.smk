rule cut_crystals:
    output:
        PATHS.batch_file("crystals"),
    log:
        PATHS.log("cut_crystals", "{campaign}", "{batch}"),
    benchmark:
        PATHS.benchmark("cut_crystals", "{campaign}", "{batch}")
    wildcard_constraints:
        campaign=names_of(*ATOMS),
    conda:
        conda_file("particles")
    container:
        container_image("particles")
    envmodules:
        "braggworks/particles",
    threads: 1
    resources:
        mem_mb=more_each_time(1000),
        runtime=more_each_time(10),
    params:
        recipe=recipe_of("crystals"),
        batch_size=batch_size,
    shell:
        "braggworks crystals --recipe {params.recipe:q} --batch {wildcards.batch} --batch-size {params.batch_size}"
        " --output {output:q} > {log:q} 2>&1"
