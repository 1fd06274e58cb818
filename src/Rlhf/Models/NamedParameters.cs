using System.Collections;
using Rlhf.Runtime.Native;
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
public sealed class NamedParameters(
    Device device, IReadOnlyDictionary<string, Parameter>? shared = null, ScalarType type = ScalarType.Float32)
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
    public Parameter Add(string name, params long[] shape)
    {
        if (shared is not null && shared.TryGetValue(name, out var existing))
        {
            Append(name, existing);
            return existing;
        }
        LibTorch.Initialize();
        using var data = torch.empty(shape, type, Device);
        var parameter = new Parameter(data, requires_grad: true);
        parameter.DetachFromDisposeScope();
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

    /// <summary>Turns gradients of all parameters on or off.</summary>
    public void RequireGradient(bool value)
    {
        foreach (var parameter in Tensors)
            parameter.requires_grad = value;
    }

    /// <inheritdoc/>
    public IEnumerator<KeyValuePair<string, Parameter>> GetEnumerator() => ordered.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var parameter in owned)
            parameter.Dispose();
    }
}
