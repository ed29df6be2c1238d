rule sweep_network:
    input:
        data=lambda wildcards: sweep_inputs(CONFIG, wildcards.sweep),
        weights=PATHS.weights(CONFIG.training.release),
    output:
        PATHS.sweep(),
    log:
        PATHS.log("sweep_network", "{sweep}"),
    benchmark:
        PATHS.benchmark("sweep_network", "{sweep}")
    conda:
        conda_file("learn")
    container:
        container_image("learn")
    envmodules:
        "braggworks/learn",
    threads: 2
    resources:
        mem_mb=more_each_time(4000),
        runtime=more_each_time(240),
    params:
        recipe=sweep_recipe,
        # What a long sweep has done outlives a failed job.
        state=PATHS.sweep_state(),
    shell:
        "braggworks sweep {input.data:q} --recipe {params.recipe:q} --weights {input.weights:q} --output {output:q}"
        " --state {params.state:q} --threads {threads} > {log:q} 2>&1"
