using Rlhf.Weights;

namespace Rlhf.Models;

/// <summary>What a file of weights can be the weights of.</summary>
internal static class StoredWeights
{
    /// <summary>Refuses a configuration that describes more weights than there are, before they are allocated.</summary>
    /// <param name="weights">The file.</param>
    /// <param name="count">Weights that the configuration asks for.</param>
    /// <param name="folder">The model folder, for the message.</param>
    /// <exception cref="InvalidDataException">There are fewer.</exception>
    public static void RequireAtLeast(this IWeightSource weights, long count, string folder)
    {
        long stored = weights.Names.Sum(name => weights.Shape(name).Aggregate(1L, (product, size) => product * size));
        if (count > stored)
            throw new InvalidDataException($"{folder}: config.json describes a model of {count:N0} weights, " +
                $"but {Path.GetFileName(weights.Path)} holds {stored:N0}. Check that they belong together.");
    }
}
