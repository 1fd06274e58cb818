namespace Rlhf.Models;

/// <summary>
/// A head to put on a checkpoint that has none for the task, such as a language model that becomes a
/// reward model. It replaces a head that the checkpoint has.
/// </summary>
/// <param name="Labels">Its label names by index; one label makes a scalar head.</param>
/// <param name="Seed">Its initial weights are drawn from this.</param>
/// <param name="ProblemType">One of <see cref="ProblemTypes"/>, or null.</param>
public sealed record NewHead(IReadOnlyList<string> Labels, long Seed, string? ProblemType = null)
{
    /// <summary>The head of a reward model: one score.</summary>
    public static NewHead Scalar(long seed) => new(LabelMaps.Default(1), seed);
}
