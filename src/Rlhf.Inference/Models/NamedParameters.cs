using System.Collections;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Runtime.Operators;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Rlhf.Models;

/// <summary>
/// The parameters of a model in the order and under the names of its checkpoint. A tied weight is one parameter with one name.
/// </summary>
/// <param name="device">Where new parameters are made.</param>
/// <param name="shared">Parameters of another model to use, by name, instead of making them; they stay the other model's.</param>
/// <param name="type">Element type of new parameters.</param>
/// <param name="storage">What matrices (<see cref="AddMatrix"/>) are kept as; where that is not float32, they require no gradient.</param>
public sealed class NamedParameters(
    Device device, IReadOnlyDictionary<string, Parameter>? shared = null, ScalarType type = ScalarType.Float32,
    BaseStorage storage = BaseStorage.Float32)
    : IReadOnlyList<KeyValuePair<string, Parameter>>, IDisposable
{
    private readonly List<KeyValuePair<string, Parameter>> ordered = [];
    private readonly Dictionary<string, Parameter> byName = [];
    private readonly List<Parameter> owned = [];

    /// <summary>Where the parameters live.</summary>
    public Device Device { get; } = device;

    /// <inheritdoc/>
    public int Count => ordered.Count;

    /// <summary>The parameter of a name.</summary>
    /// <exception cref="KeyNotFoundException">There is none.</exception>
    public Parameter this[string name] => byName[name];

    /// <inheritdoc/>
    public KeyValuePair<string, Parameter> this[int index] => ordered[index];

    /// <summary>Number of weights in all parameters.</summary>
    public long ElementCount => ordered.Sum(p => p.Value.numel());

    /// <summary>The tensors alone, in order.</summary>
    public IEnumerable<Parameter> Tensors => ordered.Select(p => p.Value);

    /// <summary>Is there a parameter of this name?</summary>
    public bool Contains(string name) => byName.ContainsKey(name);

    /// <summary>Makes an uninitialized parameter.</summary>
    public Parameter Add(string name, params long[] shape) => Shared(name) ?? Own(name, New(shape, type, isTrained: true));

    /// <summary>Makes an uninitialized matrix, kept as the model keeps its matrices.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="outputAxis">0 where the outputs are the first dimension, 1 where they are the second.</param>
    /// <param name="shape">Its two sizes.</param>
    public Parameter AddMatrix(string name, int outputAxis, params long[] shape) => Shared(name) ?? Own(name, storage switch
    {
        BaseStorage.Int8 => Int8Parameter.Create(shape, outputAxis, Device),
        BaseStorage.Bfloat16 => New(shape, ScalarType.BFloat16, isTrained: false),
        _ => New(shape, type, isTrained: true),
    });

    /// <summary>Gives a parameter the values of another of its shape.</summary>
    internal static void Copy(Tensor from, Parameter to)
    {
        if (to is Int8Parameter matrix)
        {
            if (from is Int8Parameter other)
                matrix.CopyFrom(other);
            else
                matrix.Take(from);
        }
        else
            to.copy_(from is Int8Parameter narrow ? NarrowMatrix.Widened(narrow) : from);
    }

    private Parameter? Shared(string name)
    {
        if (shared is null || !shared.TryGetValue(name, out var existing))
            return null;
        Append(name, existing);
        return existing;
    }

    private Parameter New(long[] shape, ScalarType kept, bool isTrained)
    {
        LibTorch.Initialize();
        using var data = torch.empty(shape, kept, Device);
        var parameter = new Parameter(data, isTrained);
        parameter.DetachFromDisposeScope();
        return parameter;
    }

    private Parameter Own(string name, Parameter parameter)
    {
        Append(name, parameter);
        owned.Add(parameter);
        return parameter;
    }

    /// <summary>Lists the parameters of a part of the model; they stay the part's.</summary>
    public void Include(NamedParameters part)
    {
        foreach (var (name, parameter) in part)
            Append(name, parameter);
    }

    private void Append(string name, Parameter parameter)
    {
        byName.Add(name, parameter);
        ordered.Add(new(name, parameter));
    }

    /// <summary>Turns gradients of all parameters on or off; matrices that are kept in fewer bytes never have any.</summary>
    public void RequireGradient(bool value)
    {
        foreach (var parameter in Tensors.Where(p => p.requires_grad != value && !(value && IsBase(p))))
            parameter.requires_grad = value;
    }

    /// <inheritdoc/>
    public IEnumerator<KeyValuePair<string, Parameter>> GetEnumerator() => ordered.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private bool IsBase(Parameter parameter) =>
        parameter is Int8Parameter || storage == BaseStorage.Bfloat16 && parameter.dtype == ScalarType.BFloat16;

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var parameter in owned)
        {
            (parameter as Int8Parameter)?.Scale.Dispose();
            parameter.Dispose();
        }
    }
}
