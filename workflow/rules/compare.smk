rule compare_engines:
    input:
        nufft=compared_patterns(CONFIG, "nufft"),
        pynx=compared_patterns(CONFIG, "pynx"),
    output:
        PATHS.engines,
    log:
        PATHS.log("compare_engines"),
    benchmark:
        PATHS.benchmark("compare_engines")
    conda:
        conda_file("scatter")
    container:
        container_image("scatter")
    envmodules:
        "braggworks/scatter",
    threads: 1
    resources:
        mem_mb=more_each_time(1500),
        runtime=more_each_time(10),
    params:
        version=STAGE_VERSIONS["compare"],
    shell:
        "braggworks compare-engines --reference {input.nufft:q} --other {input.pynx:q} --output {output:q}"
        " > {log:q} 2>&1"
