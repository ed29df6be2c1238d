EVALUATE_RECIPE = fixed(EvaluateRecipe(version=STAGE_VERSIONS["evaluate"], evaluation=CONFIG.evaluation))


rule evaluate_network:
    input:
        manifest=PATHS.manifest(),
        weights=PATHS.weights(),
    output:
        evaluation=PATHS.evaluation(),
        examples=PATHS.examples(),
    log:
        PATHS.log("evaluate_network", "{release}"),
    benchmark:
        PATHS.benchmark("evaluate_network", "{release}")
    conda:
        conda_file("learn")
    container:
        container_image("learn")
    envmodules:
        "braggworks/learn",
    threads: 2
    resources:
        mem_mb=more_each_time(3000),
        runtime=more_each_time(60),
    params:
        recipe=EVALUATE_RECIPE,
    shell:
        "braggworks evaluate --recipe {params.recipe:q} --manifest {input.manifest:q} --weights {input.weights:q}"
        " --output {output.evaluation:q} --examples {output.examples:q} --threads {threads} > {log:q} 2>&1"


rule check_network:
    input:
        PATHS.evaluation(),
    output:
        PATHS.gate(),
    log:
        PATHS.log("check_network", "{release}"),
    benchmark:
        PATHS.benchmark("check_network", "{release}")
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
        recipe=EVALUATE_RECIPE,
    shell:
        "braggworks gate --recipe {params.recipe:q} --evaluation {input:q} --output {output:q} > {log:q} 2>&1"
