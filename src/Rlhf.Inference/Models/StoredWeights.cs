using Rlhf.Runtime.Operators;
using Rlhf.Weights;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Models;

/// <summary>What a file of weights can be the weights of.</summary>
internal static class StoredWeights
{
    /// <summary>Reads a parameter as its model keeps it.</summary>
    /// <exception cref="InvalidDataException">The shapes differ, the file is damaged, or a number that is to be kept as int8 is not finite.</exception>
    public static void ReadParameter(this IWeightSource weights, string name, Parameter parameter)
    {
        if (parameter is not Int8Parameter matrix)
        {
            weights.ReadInto(name, parameter);
            return;
        }
        using var scope = NewDisposeScope();
        var values = empty(parameter.shape, weights.ElementType(name) is ScalarType.BFloat16 or ScalarType.Float16 ? weights.ElementType(name) : float32);
        weights.ReadInto(name, values);
        try
        {
            matrix.Take(values);
        }
        catch (InvalidDataException e)
        {
            throw new InvalidDataException($"{weights.Path}, {name}: {e.Message}", e);
        }
    }

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
