namespace Rlhf.Models;

/// <summary>
/// What a classifier's labels mean; decides the loss in training and the function that a pipeline applies to logits.
/// </summary>
public static class ProblemTypes
{
    /// <summary>The logits are numbers; mean squared error.</summary>
    public const string Regression = "regression";

    /// <summary>Exactly one label is right; softmax.</summary>
    public const string SingleLabel = "single_label_classification";

    /// <summary>Each label is right or wrong by itself; sigmoid.</summary>
    public const string MultiLabel = "multi_label_classification";

    internal static bool IsKnown(string? name) => name is null or Regression or SingleLabel or MultiLabel;
}
