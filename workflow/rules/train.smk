rule train_network:
    input:
        manifest=PATHS.manifest(),
        shards=lambda wildcards: release_shards(CONFIG, wildcards.release),
        warm_start=lambda wildcards: warm_start(CONFIG, wildcards.release),
    output:
        weights=PATHS.weights(),
        history=PATHS.history(),
        card=PATHS.model_card(),
    log:
        PATHS.log("train_network", "{release}"),
    benchmark:
        PATHS.benchmark("train_network", "{release}")
    # A time limit ends a job in which training has saved its state.
    retries: CONFIG.training.restarts
    conda:
        conda_file("learn")
    container:
        container_image("learn")
    envmodules:
        "braggworks/learn",
    threads: CONFIG.training.threads
    resources:
        mem_mb=more_each_time(4000),
        runtime=more_each_time(600),
    params:
        recipe=lambda wildcards: TrainRecipe(
            version=STAGE_VERSIONS["train"],
            training=CONFIG.training.model_copy(update={"release": wildcards.release}),
        ).to_json(),
        warm_start=lambda wildcards, input: [f"--warm-start={path}" for path in input.warm_start],
        # Takes the threads, so that Snakemake sees no part of the result in it: where and how fast retrains nothing.
        where=lambda wildcards, threads: CONFIG.training.options(threads),
        # The state outlives a failed job: Snakemake deletes declared outputs before a retry.
        state=PATHS.training_state(),
    shell:
        "braggworks train --recipe {params.recipe:q} --manifest {input.manifest:q} --state {params.state:q}"
        " --weights {output.weights:q} --history {output.history:q} --card {output.card:q} {params.where:q}"
        " {params.warm_start:q} > {log:q} 2>&1"
