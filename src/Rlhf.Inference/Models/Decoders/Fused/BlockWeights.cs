using System.Globalization;
using System.Text;
using Rlhf.Models.Layers;
using Rlhf.Runtime.Operators;
using static TorchSharp.torch;

namespace Rlhf.Models.Decoders;

/// <summary>The tensors that a block computes with, by name, and which of them are trained; an adapter's A and B, and the
/// scales of int8, stand beside their weight.</summary>
internal sealed class BlockWeights
{
    private readonly Dictionary<string, int> indices = [];
    private readonly List<Tensor> tensors = [];
    private readonly List<bool> trained = [];
    private readonly Dictionary<string, double> scales = [];
    private readonly StringBuilder key = new();

    /// <summary>The tensors in the order in which scripts take them.</summary>
    public Tensor[] Tensors => [.. tensors];

    /// <summary>Names, element types, adapters and what is trained: two blocks of one key can share a script.</summary>
    public string Key => key.ToString();

    /// <summary>Is anything trained?</summary>
    public bool AnyTrained => trained.Contains(true);

    /// <summary>Names in order.</summary>
    public IReadOnlyCollection<string> Names => indices.Keys;

    /// <summary>Adds weight, bias and adapter of a layer under a name.</summary>
    public void Add(string name, Linear? linear)
    {
        if (linear is null)
            return;
        Add(name, linear.Weight);
        if (linear.Weight is Int8Parameter matrix)
            Add(name + ".scale", matrix.Scale);
        if (linear.Bias is { } bias)
            Add(name + ".bias", bias);
        if (linear.Adapter is not { } adapter)
            return;
        Add(name + ".A", adapter.A);
        Add(name + ".B", adapter.B);
        scales[name] = adapter.Scale;
        key.Append(CultureInfo.InvariantCulture, $"*{adapter.Scale:R}");
    }

    /// <summary>Adds weight and bias of a normalization under a name.</summary>
    public void Add(string name, DecoderNorm? norm)
    {
        if (norm is null)
            return;
        Add(name, norm.Weight);
        if (norm.Bias is { } bias)
            Add(name + ".bias", bias);
    }

    /// <summary>Position of a name.</summary>
    public int IndexOf(string name) => indices[name];

    /// <summary>Is there a tensor of this name?</summary>
    public bool Has(string name) => indices.ContainsKey(name);

    /// <summary>Is there one, and does it need a gradient?</summary>
    public bool Trains(string name) => indices.TryGetValue(name, out int index) && trained[index];

    /// <summary>Is it stored in another type than float32?</summary>
    public bool IsNarrow(string name) => tensors[indices[name]].dtype != ScalarType.Float32;

    /// <summary>What B · A of the adapter on a layer is multiplied with; null without one.</summary>
    public double? AdapterScale(string name) => scales.TryGetValue(name, out double scale) ? scale : null;

    private void Add(string name, Tensor tensor)
    {
        indices.Add(name, tensors.Count);
        tensors.Add(tensor);
        trained.Add(tensor.requires_grad);
        key.Append(name).Append(trained[^1] ? '+' : '-');
        if (tensor.dtype != ScalarType.Float32)
            key.Append(tensor.dtype);
    }
}
