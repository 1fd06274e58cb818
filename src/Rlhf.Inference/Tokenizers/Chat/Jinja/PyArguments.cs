namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>What a call was given.</summary>
internal sealed class PyArguments(IReadOnlyList<object?> positional, IReadOnlyList<(string Name, object? Value)> named)
{
    /// <summary>Stands where an argument was not given.</summary>
    public static readonly object Missing = new();

    public static PyArguments None { get; } = new([], []);

    public IReadOnlyList<object?> Positional { get; } = positional;

    public IReadOnlyList<(string Name, object? Value)> Named { get; } = named;

    /// <summary>One value for each parameter, <see cref="Missing"/> where it may be left out and was.</summary>
    /// <param name="function">Name for messages.</param>
    /// <param name="required">How many of the parameters must be given.</param>
    /// <param name="parameters">Their names in order; a name with a star before it is not taken by name.</param>
    public object?[] Bind(string function, int required, params ReadOnlySpan<string> parameters)
    {
        if (Positional.Count > parameters.Length)
            throw JinjaException.Type(parameters.Length == 0 ? $"{function}() takes no arguments ({Positional.Count} given)"
                : $"{function}() takes at most {parameters.Length} argument(s) ({Positional.Count} given)");
        var values = new object?[parameters.Length];
        for (int i = 0; i < values.Length; i++)
            values[i] = i < Positional.Count ? Positional[i] : Missing;
        foreach (var (name, value) in Named)
        {
            int i = parameters.IndexOf(name);
            if (i < 0)
                throw JinjaException.Type($"{function}() got an unexpected keyword argument '{name}'");
            if (!ReferenceEquals(values[i], Missing))
                throw JinjaException.Type($"{function}() got multiple values for argument '{name}'");
            values[i] = value;
        }
        for (int i = 0; i < required; i++)
            if (ReferenceEquals(values[i], Missing))
                throw JinjaException.Type($"{function}() missing 1 required positional argument: '{parameters[i].TrimStart('*')}'");
        return values;
    }

    /// <summary>The argument, or what stands for it when it was not given.</summary>
    public static object? Or(object? value, object? otherwise) => ReferenceEquals(value, Missing) ? otherwise : value;
}
