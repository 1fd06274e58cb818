namespace Rlhf.Data;

/// <summary>An answer that somebody liked or did not: what KTO learns from.</summary>
/// <param name="Prompt">What it answers; may be empty.</param>
/// <param name="Completion">The answer.</param>
/// <param name="IsDesirable">Thumbs up?</param>
public sealed record LabeledAnswer(string Prompt, string Completion, bool IsDesirable)
{
    /// <summary>Did a chat template write prompt and answer, with the tokens around them? False by default.</summary>
    public bool IsRendered { get; init; }
}
