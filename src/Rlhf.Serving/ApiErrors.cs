using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Http;

namespace Rlhf.Serving;

/// <summary>Errors in the form of OpenAI's API, which everything below <c>/v1</c> answers with, whoever refuses the request.</summary>
internal static class ApiErrors
{
    /// <summary>What is said while the server ends.</summary>
    public static Problem Stopping { get; } = new("The server is stopping; ask again when it is back.", ServerError, Code: "server_stopping");

    /// <summary>Errors whose cause is the server.</summary>
    public const string ServerError = "server_error";

    /// <summary>Errors whose cause is the request.</summary>
    public const string InvalidRequest = "invalid_request_error";

    /// <summary>How the API writes and reads JSON.</summary>
    public static JsonSerializerOptions Json { get; } = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        DefaultIgnoreCondition = JsonIgnoreCondition.Never,
    };

    /// <summary>What went wrong.</summary>
    /// <param name="Message">In a sentence.</param>
    /// <param name="Type">Of what kind it is.</param>
    /// <param name="Param">The field of the request that it is about, or null.</param>
    /// <param name="Code">A word for programs, or null.</param>
    internal sealed record Problem(string Message, string Type = InvalidRequest, string? Param = null, string? Code = null);

    /// <summary>Is it a request of the API?</summary>
    public static bool Concerns(HttpContext context) => context.Request.Path.StartsWithSegments("/v1");

    /// <summary>Answers with an error.</summary>
    public static Task WriteAsync(HttpContext context, int status, Problem problem, TimeSpan? retryAfter = null)
    {
        context.Response.StatusCode = status;
        if (retryAfter is { } wait)
            context.Response.Headers.RetryAfter = ((int)Math.Ceiling(wait.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
        return context.Response.WriteAsJsonAsync(new { Error = problem }, Json, context.RequestAborted);
    }

    /// <summary>Refuses a request: a program gets the error in the API's form, all others a line of text.</summary>
    public static Task RefuseAsync(HttpContext context, int status, string message, string type = InvalidRequest, string? code = null)
    {
        if (Concerns(context))
            return WriteAsync(context, status, new(message, type, Code: code));
        context.Response.StatusCode = status;
        return context.Response.WriteAsync(message + "\n");
    }

    /// <summary>Says what a status means that nobody has said anything about.</summary>
    public static Task WriteStatusAsync(HttpContext context)
    {
        var (request, status) = (context.Request, context.Response.StatusCode);
        return WriteAsync(context, status, status switch
        {
            StatusCodes.Status404NotFound => new($"There is no {request.Method} {request.Path}. There are GET /v1/models, "
                + "GET /v1/models/MODEL, POST /v1/completions and POST /v1/chat/completions.",
                Code: "unknown_url"),
            StatusCodes.Status405MethodNotAllowed => new($"{request.Path} takes {context.Response.Headers.Allow}, not {request.Method}.",
                Code: "method_not_supported"),
            _ => new($"The request cannot be answered (status {status}).", status >= 500 ? ServerError : InvalidRequest),
        });
    }
}
