using Rlhf.Models;

namespace Rlhf.Cli.Benchmarks;

/// <summary>
/// Arithmetic that a workload cannot do without: matrix products on tokens (no padding) and the output layer on response positions alone.
/// A multiplication and an addition are two operations.
/// </summary>
internal static class UsefulFlops
{
    /// <summary>Forward pass of a model's layers over rows: linear layers per token, attention over each row (causal, or both ways).</summary>
    /// <param name="model">The model.</param>
    /// <param name="lengths">Tokens of each row.</param>
    public static double Trunk(ModelShape model, IEnumerable<int> lengths)
    {
        double width = (double)model.Heads * model.HeadSize, flops = 0;
        foreach (int t in lengths)
            flops += model.Layers * (t * 2.0 * model.LayerProducts + 4 * width * t * (model.IsCausal ? (t + 1) / 2.0 : t));
        return flops;
    }

    /// <summary>The output layer at <paramref name="positions"/> positions.</summary>
    public static double Head(ModelShape model, long positions) => 2.0 * positions * model.Width * model.VocabSize;
}
