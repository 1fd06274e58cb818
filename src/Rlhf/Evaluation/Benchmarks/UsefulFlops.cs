using Rlhf.Models.Encoders;
using Rlhf.Models.Gpt2;

namespace Rlhf.Evaluation.Benchmarks;

/// <summary>
/// Arithmetic that a workload cannot do without: matrix products on tokens (no padding) and the output layer on response positions alone.
/// A multiplication and an addition are two operations.
/// </summary>
public static class UsefulFlops
{
    /// <summary>Forward pass of a GPT-2 trunk over rows: linear layers per token, causal attention over each row.</summary>
    /// <param name="config">The model.</param>
    /// <param name="lengths">Tokens of each row.</param>
    public static double Trunk(Gpt2Config config, IEnumerable<int> lengths)
    {
        double d = config.NEmbd, flops = 0;
        foreach (int t in lengths)
            flops += config.NLayer * (t * 2 * (4 * d * d + 2 * d * config.InnerSize) + 4 * d * t * (t + 1) / 2.0);
        return flops;
    }

    /// <summary>The output layer at <paramref name="positions"/> positions.</summary>
    public static double Head(Gpt2Config config, long positions) => 2.0 * positions * config.NEmbd * config.VocabSize;

    /// <summary>Forward pass of an encoder over rows; attention looks in both directions.</summary>
    /// <param name="config">The model.</param>
    /// <param name="lengths">Tokens of each row.</param>
    public static double Encoder(EncoderConfig config, IEnumerable<int> lengths)
    {
        double d = config.HiddenSize, flops = 0;
        foreach (int t in lengths)
            flops += config.NumHiddenLayers * (t * 2 * (4 * d * d + 2 * d * config.IntermediateSize) + 4 * d * t * (double)t);
        return flops;
    }
}
