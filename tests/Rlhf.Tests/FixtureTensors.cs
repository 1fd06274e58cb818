using System.Runtime.InteropServices;
using System.Text.Json;
using Rlhf.Weights;
using TorchSharp;

namespace Rlhf.Tests;

/// <summary>
/// The tensors of a fixture file (float32 or int64), read independently of the library's own reader; also a source of weights
/// whose tensors can be renamed, added and removed.
/// </summary>
public sealed class FixtureTensors : IWeightSource
{
    private readonly Dictionary<string, (string Type, long[] Shape, byte[] Bytes)> tensors = [];

    private FixtureTensors(string path) => Path = path;

    public string Path { get; }

    public IReadOnlyCollection<string> Names => tensors.Keys;

    public static FixtureTensors Load(string path)
    {
        var file = File.ReadAllBytes(path);
        int headerLength = checked((int)BitConverter.ToInt64(file));
        using var header = JsonDocument.Parse(file.AsMemory(8, headerLength));
        var source = new FixtureTensors(path);
        foreach (var entry in header.RootElement.EnumerateObject().Where(e => e.Name != "__metadata__"))
        {
            var offsets = entry.Value.GetProperty("data_offsets");
            source.tensors[entry.Name] = (entry.Value.GetProperty("dtype").GetString()!,
                entry.Value.GetProperty("shape").EnumerateArray().Select(d => d.GetInt64()).ToArray(),
                file[(8 + headerLength + offsets[0].GetInt32())..(8 + headerLength + offsets[1].GetInt32())]);
        }
        return source;
    }

    public bool Has(string name) => tensors.ContainsKey(name);

    public long[] Shape(string name) => tensors[name].Shape;

    public float[] Floats(string name)
    {
        Assert.Equal("F32", tensors[name].Type);
        return MemoryMarshal.Cast<byte, float>(tensors[name].Bytes).ToArray();
    }

    /// <summary>Rows of an integer matrix.</summary>
    public int[][] Rows(string name)
    {
        Assert.Equal("I64", tensors[name].Type);
        var values = MemoryMarshal.Cast<byte, long>(tensors[name].Bytes).ToArray().Select(v => (int)v).ToArray();
        return [.. values.Chunk((int)Shape(name)[1])];
    }

    /// <summary>The same tensors under other names; those whose new name is null are left out.</summary>
    public FixtureTensors Rename(Func<string, string?> rename)
    {
        var renamed = new FixtureTensors(Path);
        foreach (var (name, tensor) in tensors)
            if (rename(name) is { } other)
                renamed.tensors[other] = tensor;
        return renamed;
    }

    /// <summary>Adds a tensor.</summary>
    public FixtureTensors With(string name, long[] shape, params float[] values)
    {
        tensors[name] = ("F32", shape, MemoryMarshal.AsBytes(values.AsSpan()).ToArray());
        return this;
    }

    public torch.ScalarType ElementType(string name) => tensors[name].Type == "F32" ? torch.float32 : torch.int64;

    public void ReadInto(string name, torch.Tensor destination)
    {
        if (!Shape(name).SequenceEqual(destination.shape))
            throw new InvalidDataException($"{name} has shape [{string.Join(", ", Shape(name))}].");
        using var values = torch.tensor(Floats(name), Shape(name));
        destination.copy_(values);
    }

    public void Dispose() { }
}
