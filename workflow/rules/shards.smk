rule cut_shard:
    input:
        lambda wildcards: patterns_file(CONFIG, wildcards.campaign, int(wildcards.batch)),
    output:
        shard=PATHS.batch_file("shards"),
        sidecar=PATHS.shard_sidecar(),
    log:
        PATHS.log("cut_shard", "{campaign}", "{batch}"),
    benchmark:
        PATHS.benchmark("cut_shard", "{campaign}", "{batch}")
    wildcard_constraints:
        campaign=names_of(*ATOMS),
    conda:
        conda_file("scatter")
    container:
        container_image("scatter")
    envmodules:
        "braggworks/scatter",
    threads: 1
    resources:
        mem_mb=more_each_time(1500),
        runtime=more_each_time(30),
    params:
        recipe=recipe_of("shard"),
        lineage=lineage_of("shard"),
    shell:
        "braggworks shard --recipe {params.recipe:q} --batch {wildcards.batch} --input {input:q} --output {output.shard:q}"
        " --sidecar {output.sidecar:q} > {log:q} 2>&1"


rule cut_scan_shard:
    input:
        lambda wildcards: batch_scans(CONFIG.campaign(wildcards.campaign), int(wildcards.batch)),
    output:
        shard=PATHS.batch_file("shards"),
        sidecar=PATHS.shard_sidecar(),
    log:
        PATHS.log("cut_scan_shard", "{campaign}", "{batch}"),
    benchmark:
        PATHS.benchmark("cut_scan_shard", "{campaign}", "{batch}")
    wildcard_constraints:
        campaign=names_of("scan"),
    conda:
        conda_file("learn")
    container:
        container_image("learn")
    envmodules:
        "braggworks/learn",
    threads: 1
    resources:
        mem_mb=more_each_time(2000),
        runtime=more_each_time(30),
    params:
        recipe=recipe_of("shard-scan"),
        batch_size=batch_size,
    shell:
        "braggworks shard-scan --recipe {params.recipe:q} --batch {wildcards.batch} --batch-size {params.batch_size}"
        " --input {input:q} --output {output.shard:q} --sidecar {output.sidecar:q} > {log:q} 2>&1"


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
        mem_mb=more_each_time(1000),
        runtime=more_each_time(10),
    params:
        recipe=lambda wildcards: ManifestRecipe(
            version=STAGE_VERSIONS["manifest"],
            release=CONFIG.release(wildcards.release),
            splits=CONFIG.splits,
        ).to_json(),
        batches=lambda wildcards: json.dumps(release_batches(CONFIG, wildcards.release)),
        results=lambda wildcards: CONFIG.results,
    shell:
        "braggworks manifest --recipe {params.recipe:q} --results {params.results:q} --batches {params.batches:q}"
        " --output {output:q} > {log:q} 2>&1"
