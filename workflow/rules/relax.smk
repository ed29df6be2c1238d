rule relax_batch:
    input:
        PATHS.batch_file("crystals"),
    output:
        PATHS.batch_file("relaxed"),
    log:
        PATHS.log("relax_batch", "{campaign}", "{batch}"),
    benchmark:
        PATHS.benchmark("relax_batch", "{campaign}", "{batch}")
    wildcard_constraints:
        campaign=names_of(*ATOMS),
    conda:
        conda_file("relax")
    container:
        container_image("relax")
    envmodules:
        "braggworks/relax",
    threads: 1
    resources:
        mem_mb=more_each_time(1500),
        runtime=more_each_time(60),
    params:
        recipe=recipe_of("relax"),
        lineage=lineage_of("relax"),
    shell:
        "braggworks relax --recipe {params.recipe:q} --batch {wildcards.batch} --input {input:q} --output {output:q}"
        " --threads {threads} > {log:q} 2>&1"
