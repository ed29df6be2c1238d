rule cut_shard:
    input:
        PATHS.batch_file("patterns-nufft"),
    output:
        shard=PATHS.batch_file("shards"),
        sidecar=PATHS.shard_sidecar(),
    log:
        PATHS.log("cut_shard", "{campaign}", "{batch}"),
    benchmark:
        PATHS.benchmark("cut_shard", "{campaign}", "{batch}")
    conda:
        conda_file("scatter")
    container:
        container_image("scatter")
    envmodules:
        "braggworks/scatter",
    threads: 1
    resources:
        mem_mb=1500,
        runtime=30,
    params:
        recipe=recipe_of("shard"),
    shell:
        "braggworks shard --recipe {params.recipe:q} --input {input:q} --output {output.shard:q}"
        " --sidecar {output.sidecar:q} > {log:q} 2>&1"


rule write_manifest:
    input:
        sidecars=lambda wildcards: release_sidecars(CONFIG, wildcards.release),
    output:
        PATHS.manifest(),
    log:
        PATHS.log("write_manifest", "{release}"),
    benchmark:
        PATHS.benchmark("write_manifest", "{release}")
    conda:
        conda_file("scatter")
    container:
        container_image("scatter")
    envmodules:
        "braggworks/scatter",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        recipe=lambda wildcards: ManifestRecipe(
            version=STAGE_VERSIONS["manifest"],
            release=CONFIG.release(wildcards.release),
            splits=CONFIG.splits,
        ).to_json(),
    shell:
        "braggworks manifest --recipe {params.recipe:q} --sidecars {input.sidecars:q} --output {output:q}"
        " > {log:q} 2>&1"
