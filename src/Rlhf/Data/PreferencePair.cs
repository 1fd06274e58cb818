namespace Rlhf.Data;

/// <summary>Two answers to a prompt, the better one first: what a reward model learns from.</summary>
/// <param name="Prompt">What both answer; empty when the source has none.</param>
/// <param name="Chosen">The better answer.</param>
/// <param name="Rejected">The worse answer.</param>
/// <param name="Margin">By how much it is better, in units of reward; null when the source does not say.</param>
public sealed record PreferencePair(string Prompt, string Chosen, string Rejected, double? Margin = null)
{
    /// <summary>Did a chat template write prompt and answers, with the tokens around them? False by default.</summary>
    public bool IsRendered { get; init; }
}
