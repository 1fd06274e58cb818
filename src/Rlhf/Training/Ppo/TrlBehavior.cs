using Rlhf.Training.Loop;

namespace Rlhf.Training.Ppo;

/// <summary>Behavior of TRL 0.11.4 that is reproduced only to prove parity.</summary>
internal sealed record TrlBehavior
{
    /// <summary>Gradient clipping acts on the first optimizer step of the trainer's life alone.</summary>
    public bool ClipsFirstStepOnly { get; init; }

    /// <summary>
    /// Whitened rewards are not 0 on padding, and what they are there flows into the advantages of shorter rows.
    /// </summary>
    public bool WhitensPadding { get; init; }

    /// <summary>With a tokenizer that pads on the left, positions count the padding.</summary>
    public bool PositionsCountPadding { get; init; }

    /// <summary>
    /// What TRL's whitened rewards add behind each row's end when rows are padded on the right: a padded position holds
    /// mean - mean / std, and generalized advantage estimation runs over it.
    /// </summary>
    public double[] WhitenedTails(StepRows rows, float[] rewards, PpoConfig config)
    {
        double mean = PpoMath.MaskedMean(rewards, rows.Mask), variance = PpoMath.MaskedVar(rewards, rows.Mask);
        double padding = mean - mean / Math.Sqrt(variance + PpoMath.WhitenEpsilon);
        int[] lengths = [.. Enumerable.Range(0, rows.Count).Select(rows.Length)];
        int longest = lengths.Max();
        return [.. lengths.Select(length =>
        {
            double advantage = 0;
            for (int t = length; t < longest && !PositionsCountPadding; t++)
                advantage = padding + config.Gamma * config.Lam * advantage;
            return advantage;
        })];
    }
}
