using System.Numerics;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>Names of types, as Python's messages give them.</summary>
internal static class PyType
{
    public static string Name(object? value) => value switch
    {
        null => "NoneType",
        bool => "bool",
        long or BigInteger => "int",
        double => "float",
        string => "str",
        PyMarkup => "Markup",
        List<object?> => "list",
        PyTuple => "tuple",
        PyDict => "dict",
        PyRange => "range",
        PyDictView x => x.Type,
        PyIterator x => x.Type,
        PyUndefined => "Undefined",
        PyNamespace => "Namespace",
        PyCycler => "Cycler",
        PyJoiner => "Joiner",
        LoopContext => "LoopContext",
        Macro => "Macro",
        _ => "function",
    };

    /// <summary>How messages about missing attributes name the object.</summary>
    public static string Object(object? value) => value switch
    {
        null => "None",
        PyNamespace or PyCycler or PyJoiner => $"jinja2.utils.{Name(value)} object",
        LoopContext or Macro => $"jinja2.runtime.{Name(value)} object",
        _ => Name(value) + " object",
    };

    public static bool IsCallable(object? value) => value is PyFunction or Macro or PyJoiner or LoopContext or PyUndefined;
}
