rule simulate_batch:
    output:
        shard=PATHS.batch_file("shards"),
        sidecar=PATHS.shard_sidecar(),
    log:
        PATHS.log("simulate_batch", "{campaign}", "{batch}"),
    benchmark:
        PATHS.benchmark("simulate_batch", "{campaign}", "{batch}")
    wildcard_constraints:
        campaign=names_of("shape3d", "polygon2d"),
    conda:
        conda_file("learn")
    container:
        container_image("learn")
    envmodules:
        "braggworks/learn",
    threads: 1
    resources:
        mem_mb=more_each_time(1500),
        runtime=more_each_time(120),
    params:
        recipe=recipe_of("simulate"),
        batch_size=batch_size,
    shell:
        "braggworks simulate --recipe {params.recipe:q} --batch {wildcards.batch} --batch-size {params.batch_size}"
        " --output {output.shard:q} --sidecar {output.sidecar:q} --threads {threads} > {log:q} 2>&1"


rule show_steps:
    output:
        PATHS.steps(),
    log:
        PATHS.log("show_steps", "{campaign}"),
    benchmark:
        PATHS.benchmark("show_steps", "{campaign}")
    wildcard_constraints:
        campaign=names_of("polygon2d"),
    conda:
        conda_file("learn")
    container:
        container_image("learn")
    envmodules:
        "braggworks/learn",
    threads: 1
    resources:
        mem_mb=more_each_time(1000),
        runtime=more_each_time(10),
    params:
        recipe=recipe_of("simulate"),
    shell:
        "braggworks simulate --recipe {params.recipe:q} --batch 0 --batch-size 1 --steps {output:q} > {log:q} 2>&1"
