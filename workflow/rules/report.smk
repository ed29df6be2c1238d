rule write_report:
    input:
        **report_inputs(CONFIG),
        template="workflow/report/report.html.j2",
    output:
        report=PATHS.report,
        summary=PATHS.summary,
    log:
        PATHS.log("write_report"),
    benchmark:
        PATHS.benchmark("write_report")
    conda:
        conda_file("figures")
    container:
        container_image("figures")
    envmodules:
        "braggworks/figures",
    threads: 1
    resources:
        mem_mb=more_each_time(1500),
        runtime=more_each_time(10),
    params:
        config=CONFIG_FILE,
        version=STAGE_VERSIONS["report"],
    shell:
        "braggworks report {params.config:q} --template {input.template:q} --output {output.report:q}"
        " --summary {output.summary:q} > {log:q} 2>&1"
