using System.Globalization;
using System.Runtime.InteropServices;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Models.Onnx;

/// <summary>
/// A computation written in ONNX's standard operators, and the weights that it uses: what a model's forward pass becomes in the file. Values
/// compute in float32, whatever type the weights are stored in.
/// </summary>
/// <param name="parameters">The model's parameters, whose names the weights keep.</param>
/// <param name="storesHalf">Store matrices as float16; vectors (biases, normalizations) stay float32.</param>
/// <seealso href="https://onnx.ai/onnx/operators/"/>
internal sealed class OnnxGraph(NamedParameters parameters, bool storesHalf = false)
{
    /// <summary>The version of the operator set: the first with Gelu, which ONNX Runtime has had since 1.17.</summary>
    public const int Opset = 20;

    /// <summary>The version of the file format that came with <see cref="Opset"/>.</summary>
    public const int FormatVersion = 9;

    private readonly List<OnnxNode> nodes = [];
    private readonly List<OnnxInitializer> initializers = [];
    private readonly List<OnnxPort> inputs = [], outputs = [];
    private readonly HashSet<string> names = [];
    private readonly Dictionary<string, OnnxValue> constants = [];
    private readonly Dictionary<object, string> parameterNames = Names(parameters);
    private readonly Dictionary<object, (OnnxValue Value, bool IsTransposed)> weights = new(ReferenceEqualityComparer.Instance);
    private string scope = "";

    /// <summary>The operators, each behind those whose results it uses.</summary>
    public IReadOnlyList<OnnxNode> Nodes => nodes;

    /// <summary>Constants and weights.</summary>
    public IReadOnlyList<OnnxInitializer> Initializers => initializers;

    /// <summary>What callers give.</summary>
    public IReadOnlyList<OnnxPort> Inputs => inputs;

    /// <summary>What callers get.</summary>
    public IReadOnlyList<OnnxPort> Outputs => outputs;

    /// <summary>Number of weights of the model that the graph uses.</summary>
    public long WeightCount => initializers.Sum(i => i.Weight?.numel() ?? 0);

    /// <summary>The error of an architecture that does not write itself as a graph.</summary>
    public static NotSupportedException NoForm(string architecture) =>
        new($"{architecture} has no form in ONNX here, so that it cannot be exported as one.");

    /// <summary>Names of values begin with a part's name until the result is disposed.</summary>
    public IDisposable In(string part)
    {
        var entered = new Entered(this, scope);
        scope += part + "/";
        return entered;
    }

    /// <summary>An input of the graph.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="type">Its element type.</param>
    /// <param name="dimensions">A long where a dimension is fixed, a name where callers choose it.</param>
    public OnnxValue Input(string name, OnnxType type, params object[] dimensions)
    {
        inputs.Add(new(name, type, dimensions));
        return Own(name);
    }

    /// <summary>An output of the graph.</summary>
    public void Output(string name, OnnxValue value, OnnxType type, params object[] dimensions)
    {
        outputs.Add(new(name, type, dimensions));
        nodes.Add(new("Identity", [value], [Own(name)], []));
    }

    /// <summary>Adds an operator of one result.</summary>
    public OnnxValue Node(string op, OnnxValue[] from, params OnnxAttribute[] attributes) => Node(op, 1, from, attributes)[0];

    /// <summary>Adds an operator of several results.</summary>
    public OnnxValue[] Node(string op, int results, OnnxValue[] from, params OnnxAttribute[] attributes)
    {
        string name = $"{scope}{op}_{nodes.Count}";
        OnnxValue[] made = [.. Enumerable.Range(0, results).Select(i => Own(results == 1 ? name : $"{name}_{i}"))];
        nodes.Add(new(op, from, made, attributes));
        return made;
    }

    /// <summary>A weight as it is stored, float32 or float16, so that a look-up need not convert all of it.</summary>
    /// <param name="parameter">The parameter.</param>
    /// <param name="name">Its name where it is not one of the model's parameters, such as what an adapter put in place of one.</param>
    public OnnxValue StoredWeight(Parameter parameter, string? name = null) => Stored(parameter, name, isTransposed: false);

    /// <summary>A weight in float32.</summary>
    /// <param name="parameter">The parameter.</param>
    /// <param name="name">Its name where it is not one of the model's parameters, such as what an adapter put in place of one.</param>
    /// <param name="isTransposed">Store and give the transpose of the matrix.</param>
    public OnnxValue Weight(Parameter parameter, string? name = null, bool isTransposed = false)
    {
        var stored = Stored(parameter, name, isTransposed);
        return IsHalf(parameter) ? this.Cast(stored, OnnxType.Float) : stored;
    }

    /// <summary>Is the weight in the file already, and not as its transpose?</summary>
    public bool HasStored(Parameter parameter) => weights.TryGetValue(parameter, out var known) && !known.IsTransposed;

    /// <summary>Is the weight stored as float16?</summary>
    public bool IsHalf(Parameter parameter) => storesHalf && parameter.dim() > 1;

    /// <summary>A list of whole numbers, as shapes and axes are given.</summary>
    public OnnxValue Longs(params long[] values) => Constant(OnnxType.Int64, [values.Length], MemoryMarshal.AsBytes<long>(values));

    /// <summary>A whole number.</summary>
    public OnnxValue Long(long value) => Constant(OnnxType.Int64, [], MemoryMarshal.AsBytes<long>([value]));

    /// <summary>A number.</summary>
    public OnnxValue Number(double value) => Constant(OnnxType.Float, [], MemoryMarshal.AsBytes<float>([(float)value]));

    /// <summary>A list of numbers.</summary>
    public OnnxValue Numbers(float[] values) => Constant(OnnxType.Float, [values.Length], MemoryMarshal.AsBytes<float>(values));

    private OnnxValue Stored(Parameter parameter, string? name, bool isTransposed)
    {
        if (weights.TryGetValue(parameter, out var known))
            return known.IsTransposed == isTransposed ? known.Value
                : throw new InvalidOperationException($"The weight {known.Value.Name} is used as it is and transposed.");
        var value = Own(parameterNames.GetValueOrDefault(parameter) ?? name ?? throw new ArgumentException("The weight has no name."));
        long[] shape = parameter.shape;
        initializers.Add(new(value.Name, IsHalf(parameter) ? OnnxType.Float16 : OnnxType.Float, isTransposed ? [.. shape.Reverse()] : shape)
        {
            Weight = parameter,
            IsTransposed = isTransposed,
        });
        weights.Add(parameter, (value, isTransposed));
        return value;
    }

    private OnnxValue Constant(OnnxType type, long[] shape, ReadOnlySpan<byte> elements)
    {
        string key = $"{type} {shape.Length} {Convert.ToHexString(elements)}";
        if (constants.TryGetValue(key, out var known))
            return known;
        var value = Own("constant_" + constants.Count.ToString(CultureInfo.InvariantCulture));
        initializers.Add(new(value.Name, type, shape) { Constant = elements.ToArray() });
        constants.Add(key, value);
        return value;
    }

    private OnnxValue Own(string name) =>
        names.Add(name) ? new(name) : throw new InvalidOperationException($"The graph has two values {name}.");

    private static Dictionary<object, string> Names(NamedParameters parameters)
    {
        var names = new Dictionary<object, string>(ReferenceEqualityComparer.Instance);
        foreach (var (name, parameter) in parameters)
            names[parameter] = name;
        return names;
    }

    private sealed class Entered(OnnxGraph graph, string before) : IDisposable
    {
        public void Dispose() => graph.scope = before;
    }
}
