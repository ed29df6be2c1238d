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
    shell:
        "braggworks sweep {input.data:q} --recipe {params.recipe:q} --weights {input.weights:q} --output {output:q}"
        " --threads {threads} > {log:q} 2>&1"


rule mask_strategies:
    input:
        patterns=strategies_patterns(CONFIG),
        weights=PATHS.weights(CONFIG.training.release),
    output:
        PATHS.strategies,
    log:
        PATHS.log("mask_strategies"),
    benchmark:
        PATHS.benchmark("mask_strategies")
    conda:
        conda_file("learn")
    container:
        container_image("learn")
    envmodules:
        "braggworks/learn",
    threads: 2
    resources:
        mem_mb=more_each_time(3000),
        runtime=more_each_time(30),
    params:
        recipe=sweep_recipe_of("masking"),
    shell:
        "braggworks mask-strategies {input.patterns:q} --recipe {params.recipe:q} --weights {input.weights:q}"
        " --output {output:q} --threads {threads} > {log:q} 2>&1"


rule phase_strategies:
    input:
        PATHS.strategies,
    output:
        PATHS.phased_strategies,
    log:
        PATHS.log("phase_strategies"),
    benchmark:
        PATHS.benchmark("phase_strategies")
    conda:
        conda_file("pynx")
    container:
        container_image("pynx")
    envmodules:
        "braggworks/pynx",
    threads: 2
    resources:
        mem_mb=more_each_time(3000),
        runtime=more_each_time(240),
    params:
        recipe=sweep_recipe_of("masking"),
    shell:
        "braggworks phase-strategies {input:q} --recipe {params.recipe:q} --output {output:q} > {log:q} 2>&1"
