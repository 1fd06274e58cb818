using TorchSharp;

namespace Rlhf.Weights;

/// <summary>Named tensors in a file or in several: safetensors, PyTorch's .bin, or shards of either.</summary>
public interface IWeightSource : IDisposable
{
    /// <summary>The file or index file that was opened, for messages.</summary>
    string Path { get; }

    /// <summary>Names of all tensors.</summary>
    IReadOnlyCollection<string> Names { get; }

    /// <summary>Shape of a tensor.</summary>
    /// <exception cref="KeyNotFoundException">There is no tensor of that name.</exception>
    long[] Shape(string name);

    /// <summary>Element type as stored.</summary>
    /// <exception cref="KeyNotFoundException">There is no tensor of that name.</exception>
    torch.ScalarType ElementType(string name);

    /// <summary>
    /// Reads a tensor straight into a destination's memory, converting F16, BF16 and F64 to the destination's type.
    /// </summary>
    /// <exception cref="InvalidDataException">The shapes differ, or the file is damaged.</exception>
    /// <exception cref="KeyNotFoundException">There is no tensor of that name.</exception>
    void ReadInto(string name, torch.Tensor destination);
}
