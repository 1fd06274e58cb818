namespace Rlhf.Training.Preferences;

/// <summary>A prompt with a chosen and a rejected answer, as token ids.</summary>
/// <param name="Prompt">The prompt; at least one token.</param>
/// <param name="Chosen">The better answer with its end token; at least one token.</param>
/// <param name="Rejected">The worse answer with its end token; at least one token.</param>
public sealed record PairExample(int[] Prompt, int[] Chosen, int[] Rejected)
{
    /// <summary>What the reference says of both answers, where it is known before training; null asks the reference.</summary>
    public ReferenceLogps? Reference { get; init; }

    /// <summary>Tokens of both rows.</summary>
    public int Length => 2 * Prompt.Length + Chosen.Length + Rejected.Length;
}

/// <summary>Logprobs of a pair's answers under the reference, summed over their tokens.</summary>
/// <param name="Chosen">log ρ(y_w).</param>
/// <param name="Rejected">log ρ(y_l).</param>
public readonly record struct ReferenceLogps(float Chosen, float Rejected);

/// <summary>A prompt with an answer that somebody liked or did not, as token ids.</summary>
/// <param name="Prompt">The prompt; at least one token.</param>
/// <param name="Completion">The answer with its end token; at least one token.</param>
/// <param name="IsDesirable">Thumbs up?</param>
public sealed record AnswerExample(int[] Prompt, int[] Completion, bool IsDesirable)
{
    /// <summary>Tokens of prompt and answer.</summary>
    public int Length => Prompt.Length + Completion.Length;
}
