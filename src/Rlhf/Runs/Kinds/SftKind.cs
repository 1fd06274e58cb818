namespace Rlhf.Runs.Kinds;

internal static class SftKind
{
    public static readonly TrainingKind Instance = new("sft", "supervised fine-tuning")
    {
        Charts = EpochTraining.Charts("nats per token"),
        HeldOut = [new("eval_perplexity", "Perplexity on held-out text") { Metric = "eval/perplexity" }],
    };
}
