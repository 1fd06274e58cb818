using System.Text.Json;
using Rlhf.Runtime.Files;
using Rlhf.Runtime.Text;
using static TorchSharp.torch;

namespace Rlhf.Weights;

/// <summary>Weights spread over several files beside an index file.</summary>
internal sealed class ShardedWeights : IWeightSource
{
    private const int MostIndexBytes = 100_000_000;

    private readonly Dictionary<string, IWeightSource> shards = [];
    private readonly Dictionary<string, IWeightSource> byName = [];

    private ShardedWeights(string path) => Path = path;

    public string Path { get; }

    public IReadOnlyCollection<string> Names => byName.Keys;

    public static ShardedWeights Open(string path)
    {
        var weights = new ShardedWeights(path);
        try
        {
            weights.OpenShards(ReadMap(path));
            return weights;
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    private void OpenShards(Dictionary<string, string> map)
    {
        var folder = System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(Path))!;
        foreach (var (name, fileName) in map)
        {
            if (!shards.TryGetValue(fileName, out var shard))
            {
                RequirePlainName(fileName);
                var file = System.IO.Path.Combine(folder, fileName);
                if (!File.Exists(file))
                    throw new FileNotFoundException(
                        $"{Path}: the shard {Untrusted.Quote(fileName)} is missing; download the model again.", file);
                shards.Add(fileName, shard = WeightFiles.OpenSingle(file));
            }
            if (!shard.Names.Contains(name))
                throw Untrusted.Refuse(Path,
                    $"tensor {Untrusted.Quote(name)} is not in {Untrusted.Quote(fileName)}, where the index says it is.");
            byName.Add(name, shard);
        }
    }

    /// <summary>An index may name files beside it and nothing else, on any system.</summary>
    private void RequirePlainName(string fileName)
    {
        if (fileName is "" or "." or ".." || fileName.AsSpan().IndexOfAny("/\\:\0") >= 0)
            throw Untrusted.Refuse(Path,
                $"weight_map names {Untrusted.Quote(fileName)}; only names of files in the same folder are allowed.");
    }

    private static Dictionary<string, string> ReadMap(string path) =>
        ParseMap(BoundedFile.Read(path, MostIndexBytes, "an index of weights"), path);

    /// <summary>The file of each tensor; the path is for messages.</summary>
    internal static Dictionary<string, string> ParseMap(ReadOnlyMemory<byte> content, string path)
    {
        try
        {
            using var json = JsonDocument.Parse(content);
            if (json.RootElement.ValueKind != JsonValueKind.Object || !json.RootElement.TryGetProperty("weight_map", out var map)
                || map.ValueKind != JsonValueKind.Object)
                throw Untrusted.Refuse(path, "the index has no weight_map object.");
            var files = new Dictionary<string, string>();
            foreach (var entry in map.EnumerateObject())
                files[entry.Name] = entry.Value.ValueKind == JsonValueKind.String ? entry.Value.GetString()!
                    : throw Untrusted.Refuse(path, $"weight_map has no file name for tensor {Untrusted.Quote(entry.Name)}.");
            return files;
        }
        catch (JsonException e)
        {
            throw Untrusted.Refuse(path, $"the index is not valid JSON: {UntrustedText.Place(e)}.");
        }
        catch (InvalidOperationException)
        {
            throw Untrusted.Refuse(path, "the index holds a name that is not valid Unicode.");
        }
    }

    public long[] Shape(string name) => Shard(name).Shape(name);

    public ScalarType ElementType(string name) => Shard(name).ElementType(name);

    public void ReadInto(string name, Tensor destination) => Shard(name).ReadInto(name, destination);

    private IWeightSource Shard(string name) =>
        byName.TryGetValue(name, out var shard) ? shard : throw Untrusted.NoTensor(Path, name);

    public void Dispose()
    {
        foreach (var shard in shards.Values)
            shard.Dispose();
    }
}
