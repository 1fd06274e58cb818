using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Checkpoints;

/// <summary>Finds and writes the weights of a model folder.</summary>
public static class WeightFiles
{
    /// <summary>
    /// Opens the weights of a model folder: model.safetensors, model.safetensors.index.json, pytorch_model.bin or pytorch_model.bin.index.json, in that order.
    /// </summary>
    /// <exception cref="FileNotFoundException">The folder holds none of them.</exception>
    /// <exception cref="InvalidDataException">A file is damaged or refused.</exception>
    public static IWeightSource Open(string folder) => throw new NotSupportedException();

    /// <summary>Writes model.safetensors atomically, with metadata <c>format: pt</c>; tensors that share memory are written once, under the first name.</summary>
    public static void Save(string folder, IReadOnlyList<KeyValuePair<string, Tensor>> tensors, ScalarType? storeAs = null) => throw new NotSupportedException();
}
