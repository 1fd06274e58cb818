using Rlhf.Runtime.Text;

namespace Rlhf.Rewards;

/// <summary>Makes sure that what a reward returns can be trained on.</summary>
internal static class RewardChecks
{
    private const int QuotedLength = 120;

    /// <exception cref="RewardException">There are too few or too many scores, or one is not finite.</exception>
    public static IReadOnlyList<float> Check(
        string reward, IReadOnlyList<Completion> completions, IReadOnlyList<float> scores, bool requireFinite = true)
    {
        if (scores.Count != completions.Count)
            throw new RewardException($"Reward '{reward}' gave {scores.Count} scores for {completions.Count} completions.");
        for (int i = 0; i < scores.Count; i++)
            if (requireFinite && !float.IsFinite(scores[i]))
                throw new RewardException($"Reward '{reward}' gave {scores[i]} for sample {i}: {completions[i].Quoted()}. " +
                    "A score must be finite.",
                    completions[i]);
        return scores;
    }

    /// <summary>A sample for a message.</summary>
    public static string Quoted(this Completion completion) =>
        $"query {Quote(completion.Query)}, response {Quote(completion.Response)}";

    private static string Quote(string text) => UntrustedText.Quote(text, QuotedLength);
}
