use rule train_network as train_variant with:
    input:
        manifest=lambda wildcards: PATHS.manifest(variant_of(wildcards).release),
        shards=lambda wildcards: release_shards(CONFIG, variant_of(wildcards).release),
    output:
        weights=PATHS.variant_file("weights.safetensors"),
        history=PATHS.variant_file("history.csv"),
        card=PATHS.variant_file("card.json"),
    log:
        PATHS.log("train_variant", "{study}", "{variant}"),
    benchmark:
        PATHS.benchmark("train_variant", "{study}", "{variant}")
    params:
        recipe=lambda wildcards: TrainRecipe(version=STAGE_VERSIONS["train"], training=variant_of(wildcards)).to_json(),
        warm_start=[],
        where=lambda wildcards, threads: variant_of(wildcards).options(threads),
        state=PATHS.variant_state(),


use rule evaluate_network as evaluate_variant with:
    input:
        manifest=lambda wildcards: PATHS.manifest(variant_of(wildcards).release),
        weights=PATHS.variant_file("weights.safetensors"),
    output:
        evaluation=PATHS.variant_file(PATHS.scores_name),
        examples=PATHS.variant_file("examples.h5"),
    log:
        PATHS.log("evaluate_variant", "{study}", "{variant}"),
    benchmark:
        PATHS.benchmark("evaluate_variant", "{study}", "{variant}")
