SIMULATED_BATCH, SIMULATED_PARTICLE = simulated_particle(CONFIG)
SCAN_RECIPE = fixed(ScanRecipe(version=STAGE_VERSIONS["scan"], scan=CONFIG.scan.without_phasing()))


rule simulate_scan:
    input:
        patterns_file(CONFIG, CONFIG.scan.simulated, SIMULATED_BATCH),
    output:
        PATHS.simulated_scan,
    log:
        PATHS.log("simulate_scan"),
    benchmark:
        PATHS.benchmark("simulate_scan")
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
        recipe=SCAN_RECIPE,
        particle=SIMULATED_PARTICLE,
    shell:
        "braggworks simulate-scan --recipe {params.recipe:q} --patterns {input:q} --particle {params.particle}"
        " --output {output:q} > {log:q} 2>&1"


rule prepare_scan:
    input:
        scan_source(CONFIG),
    output:
        PATHS.prepared_scan,
    log:
        PATHS.log("prepare_scan"),
    benchmark:
        PATHS.benchmark("prepare_scan")
    conda:
        conda_file("learn")
    container:
        container_image("learn")
    envmodules:
        "braggworks/learn",
    threads: 1
    resources:
        mem_mb=more_each_time(2000),
        runtime=more_each_time(10),
    params:
        recipe=SCAN_RECIPE,
    shell:
        "braggworks scan {input:q} --recipe {params.recipe:q} --output {output:q} > {log:q} 2>&1"


rule inpaint_scan:
    input:
        scan=PATHS.prepared_scan,
        weights=PATHS.weights(CONFIG.training.release),
    output:
        scan=PATHS.inpainted_scan,
        scores=PATHS.scan_scores,
    log:
        PATHS.log("inpaint_scan"),
    benchmark:
        PATHS.benchmark("inpaint_scan")
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
        recipe=SCAN_RECIPE,
        version=STAGE_VERSIONS["inpaint"],
    shell:
        "braggworks inpaint {input.scan:q} --recipe {params.recipe:q} --weights {input.weights:q}"
        " --output {output.scan:q} --scores {output.scores:q} --threads {threads} > {log:q} 2>&1"


if CONFIG.scan.phasing:

    rule phase_scan:
        input:
            PATHS.inpainted_scan,
        output:
            PATHS.phased_scan,
        log:
            PATHS.log("phase_scan"),
        benchmark:
            PATHS.benchmark("phase_scan")
        conda:
            conda_file("learn")
        container:
            container_image("learn")
        envmodules:
            "braggworks/learn",
        threads: 2
        resources:
            mem_mb=more_each_time(4000),
            runtime=more_each_time(120),
        params:
            recipe=fixed(PhaseRecipe(version=STAGE_VERSIONS["phase"], phasing=CONFIG.scan.phasing)),
        shell:
            "braggworks phase {input:q} --recipe {params.recipe:q} --output {output:q} --threads {threads}"
            " > {log:q} 2>&1"
