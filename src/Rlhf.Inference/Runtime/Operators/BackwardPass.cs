using System.Runtime.ExceptionServices;
using Rlhf.Runtime.Native;
using static TorchSharp.torch;

namespace Rlhf.Runtime.Operators;

/// <summary>
/// Brings exceptions out of backward passes that are written in C#. libtorch calls those from native code, through which no exception may
/// travel: one that leaves such a function, for instance because memory ran out, ends the process.
/// </summary>
internal static class BackwardPass
{
    // On the CPU libtorch runs backward passes on the thread that asks for them, on a GPU on threads of its own.
    [ThreadStatic] private static bool isRunning;
    [ThreadStatic] private static Exception? failure;
    private static Exception? failureElsewhere;

    /// <summary>Runs libtorch's backward pass, and throws what a function within it caught.</summary>
    public static void Run(Action backward)
    {
        Allocator.RecordPeak();
        (isRunning, failure, failureElsewhere) = (true, null, null);
        try
        {
            backward();
        }
        finally
        {
            isRunning = false;
        }
        if ((failure ?? Interlocked.Exchange(ref failureElsewhere, null)) is { } error)
        {
            failure = null;
            ExceptionDispatchInfo.Throw(error);
        }
    }

    /// <summary>Called as a backward function on this thread begins; what it throws is the function's failure. Only tests set it.</summary>
    [field: ThreadStatic]
    internal static Action? Entering { get; set; }

    /// <summary>
    /// The body of a backward function with a single gradient to return. When it throws, that is remembered, and the gradient is
    /// NaN, so that a caller who does not use <see cref="Run"/> cannot take it for one.
    /// </summary>
    /// <param name="inputShape">Shape of the gradient; null where there is none to return.</param>
    /// <param name="outputGradient">The gradient that the function was given.</param>
    /// <param name="inputs">Number of the function's inputs.</param>
    /// <param name="body">Returns the gradient of the first input.</param>
    public static List<Tensor> Guard(Func<long[]>? inputShape, Tensor outputGradient, int inputs, Func<Tensor?> body)
    {
        var gradients = new List<Tensor>(new Tensor[inputs]);
        try
        {
            Entering?.Invoke();
            // After one failure the others would only fail too, or write into a gradient that is thrown away.
            gradients[0] = (failure is null ? body() : null)!;
        }
        catch (Exception error)
        {
            if (isRunning)
                failure ??= error;
            else
                Interlocked.CompareExchange(ref failureElsewhere, error, null);
        }
        if (gradients[0] is null && inputShape is not null && (failure ?? failureElsewhere) is not null)
            gradients[0] = full([1], float.NaN, outputGradient.dtype, outputGradient.device).expand(inputShape()); // no memory for it
        return gradients;
    }
}
