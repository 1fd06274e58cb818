using static TorchSharp.torch;

namespace Rlhf.Weights;

/// <summary>Finds and writes the weights of a model folder.</summary>
public static class WeightFiles
{
    private const string SafeTensorsName = "model.safetensors";

    /// <summary>The names under which a model folder keeps its weights, the preferred one first.</summary>
    public static IReadOnlyList<string> FileNames { get; } =
        [SafeTensorsName, "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

    /// <summary>
    /// Opens the weights of a model folder: model.safetensors, model.safetensors.index.json, pytorch_model.bin or
    /// pytorch_model.bin.index.json, in that order.
    /// </summary>
    /// <exception cref="FileNotFoundException">
    /// The folder holds none of them, or a shard that its index names is missing.
    /// </exception>
    /// <exception cref="InvalidDataException">A file is damaged or refused.</exception>
    /// <exception cref="IOException">A file cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">A file may not be read.</exception>
    public static IWeightSource Open(string folder)
    {
        var path = FileNames.Select(name => Path.Combine(folder, name)).FirstOrDefault(File.Exists)
            ?? throw new FileNotFoundException(
                $"{folder}: there are no weights; expected one of {string.Join(", ", FileNames)}.");
        return RenamedWeights.Of(OpenFile(path));
    }

    /// <summary>
    /// Opens one file of weights, in the format that its name says: .safetensors, .index.json, or else PyTorch's .bin.
    /// </summary>
    /// <exception cref="FileNotFoundException">There is no such file, or a shard that an index names is missing.</exception>
    /// <exception cref="InvalidDataException">A file is damaged or refused.</exception>
    /// <exception cref="IOException">A file cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">A file may not be read.</exception>
    public static IWeightSource OpenFile(string path) =>
        path.EndsWith(".index.json", StringComparison.Ordinal) ? ShardedWeights.Open(path) : OpenSingle(path);

    internal static IWeightSource OpenSingle(string path) =>
        path.EndsWith(".safetensors", StringComparison.Ordinal) ? SafeTensorsFile.Open(path) : PyTorchBin.Open(path);

    /// <summary>
    /// Writes model.safetensors atomically, with metadata <c>format: pt</c>; tensors that share memory are written once, under
    /// the first name.
    /// </summary>
    /// <param name="folder">The model folder; it is made when absent.</param>
    /// <param name="tensors">Names and tensors in the order of the checkpoint.</param>
    /// <param name="storeAs">Type that floating point tensors are stored as; null keeps each tensor's own.</param>
    /// <exception cref="ArgumentException">
    /// A name is repeated, or a value is too large for <paramref name="storeAs"/>.
    /// </exception>
    /// <exception cref="IOException">The disk is full, or the file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public static void Save(string folder, IReadOnlyList<KeyValuePair<string, Tensor>> tensors, ScalarType? storeAs = null)
    {
        Directory.CreateDirectory(folder);
        SafeTensors.Save(Path.Combine(folder, SafeTensorsName), tensors, storeAs: storeAs);
    }
}
