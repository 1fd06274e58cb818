using TorchSharp;

namespace Rlhf.Runtime.Operators;

/// <summary>Arguments of TorchScript functions.</summary>
/// <remarks>
/// TorchSharp makes a native scalar of each number and keeps the address alone: when the garbage collector comes between that and the
/// call, the scalar is freed and the function reads what has become of its memory. Here the scalars are made beforehand and live on.
/// </remarks>
internal static class ScriptArguments
{
    /// <summary>Calls a function with arguments that outlive the call.</summary>
    /// <param name="arguments">Tensors, arrays of tensors, numbers, booleans, or null for None.</param>
    /// <param name="call">The function.</param>
    public static object? Call(object?[] arguments, Func<object[], object?> call)
    {
        var prepared = new object[arguments.Length];
        try
        {
            for (int i = 0; i < prepared.Length; i++)
                prepared[i] = arguments[i] switch
                {
                    int number => (Scalar)number,
                    long number => (Scalar)number,
                    double number => (Scalar)number,
                    bool value => (Scalar)value,
                    var other => other!,
                };
            return call(prepared);
        }
        finally
        {
            for (int i = 0; i < prepared.Length; i++)
                if (arguments[i] is ValueType)
                    (prepared[i] as Scalar)?.Dispose();
            GC.KeepAlive(arguments);
        }
    }
}
