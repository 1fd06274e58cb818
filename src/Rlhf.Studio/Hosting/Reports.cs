using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Rlhf.Studio.Runs;
using Rlhf.Tracking;

namespace Rlhf.Studio.Hosting;

/// <summary>A run's own report.html. It may hold anything, so it is shown as a page of no origin that reaches nothing.</summary>
internal static class Reports
{
    private const string Policy = "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        + "img-src data:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    /// <summary>The address of a run's report.</summary>
    public static string Url(string run) => $"/report?run={Uri.EscapeDataString(run)}";

    public static void MapReports(this IEndpointRouteBuilder app) =>
        app.MapGet("/report", (string run, RunCatalog runs, HttpContext context) =>
        {
            if (runs.FileOf(run, RunFiles.Report) is not { } path)
                return Results.NotFound("This run has no report.html.");
            context.Response.Headers.ContentSecurityPolicy = Policy;
            return Results.Stream(File.OpenRead(path), "text/html; charset=utf-8");
        });
}
