using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Rlhf.Runtime.Files;
using static TorchSharp.torch;

namespace Rlhf.Weights;

/// <summary>Finds and writes the weights of a model folder.</summary>
public static partial class WeightFiles
{
    private const string SafeTensorsName = "model.safetensors", IndexName = SafeTensorsName + ".index.json";
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    /// <summary>The names under which a model folder keeps its weights, the preferred one first.</summary>
    public static IReadOnlyList<string> FileNames { get; } =
        [SafeTensorsName, IndexName, "pytorch_model.bin", "pytorch_model.bin.index.json"];

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
    /// the first name. Files of an earlier model's weights in the folder, which a reader could take for this one's, are removed.
    /// </summary>
    /// <param name="folder">The model folder; it is made when absent.</param>
    /// <param name="tensors">Names and tensors in the order of the checkpoint.</param>
    /// <param name="storeAs">Type that floating point tensors are stored as; null keeps each tensor's own.</param>
    /// <param name="maxShardSize">
    /// Most bytes of tensors in one file. What takes more is written as model-00001-of-0000N.safetensors and so on, filled in order, with
    /// model.safetensors.index.json, as transformers does; a tensor that is larger has a file of its own. null is one file.
    /// </param>
    /// <exception cref="ArgumentException">
    /// A name is repeated, or a value is too large for <paramref name="storeAs"/>.
    /// </exception>
    /// <exception cref="IOException">The disk is full, or the file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public static void Save(string folder, IReadOnlyList<KeyValuePair<string, Tensor>> tensors, ScalarType? storeAs = null,
        long? maxShardSize = null)
    {
        if (maxShardSize is { } limit)
            ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1, nameof(maxShardSize));
        Directory.CreateDirectory(folder);
        var shards = Shards(tensors, storeAs, maxShardSize ?? long.MaxValue);
        if (shards.Count <= 1)
        {
            SafeTensors.Save(Path.Combine(folder, SafeTensorsName), tensors, storeAs: storeAs);
            RemoveOthers(folder, [SafeTensorsName]);
            return;
        }
        HashSet<string> written = [IndexName];
        var map = new JsonObject();
        for (int i = 0; i < shards.Count; i++)
        {
            string name = string.Create(CultureInfo.InvariantCulture, $"model-{i + 1:00000}-of-{shards.Count:00000}.safetensors");
            SafeTensors.Save(Path.Combine(folder, name), shards[i], storeAs: storeAs);
            written.Add(name);
            foreach (var (tensor, _) in shards[i])
                map[tensor] = name;
        }
        long bytes = shards.Sum(s => s.Sum(t => Bytes(t.Value, storeAs)));
        AtomicFile.WriteAllText(Path.Combine(folder, IndexName), new JsonObject
        {
            ["metadata"] = new JsonObject
            {
                ["total_parameters"] = shards.Sum(s => s.Sum(t => t.Value.numel())),
                ["total_size"] = bytes,
            },
            ["weight_map"] = map,
        }.ToJsonString(Indented) + "\n");
        RemoveOthers(folder, written);
    }

    /// <summary>Bytes of a folder's safetensors files of weights.</summary>
    internal static long BytesIn(string folder) => Directory.EnumerateFiles(folder, "model*.safetensors").Sum(f => new FileInfo(f).Length);

    private static List<List<KeyValuePair<string, Tensor>>> Shards(
        IReadOnlyList<KeyValuePair<string, Tensor>> tensors, ScalarType? storeAs, long limit)
    {
        List<List<KeyValuePair<string, Tensor>>> shards = [];
        long held = 0;
        foreach (var tensor in tensors)
        {
            long bytes = Bytes(tensor.Value, storeAs);
            if (shards.Count == 0 || held > 0 && held + bytes > limit)
            {
                shards.Add([]);
                held = 0;
            }
            shards[^1].Add(tensor);
            held += bytes;
        }
        return shards;
    }

    private static long Bytes(Tensor tensor, ScalarType? storeAs) =>
        tensor.numel() * (storeAs is { } type && tensor.is_floating_point() ? SafeTensorsType.Find(type)!.Bits / 8 : tensor.ElementSize);

    private static void RemoveOthers(string folder, ICollection<string> written)
    {
        foreach (string file in Directory.EnumerateFiles(folder, "model*"))
            if (Path.GetFileName(file) is var name && !written.Contains(name) && (name is SafeTensorsName or IndexName || Shard().IsMatch(name)))
                File.Delete(file);
    }

    [GeneratedRegex(@"\Amodel-\d{5}-of-\d{5}\.safetensors\z", RegexOptions.CultureInvariant)]
    private static partial Regex Shard();
}
